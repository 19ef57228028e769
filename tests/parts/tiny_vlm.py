"""A vision-language model of some 100 000 random parameters: it runs on a real server and knows nothing at all."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SIDE_PX, PATCH_PX = 56, 14
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}"
    "{% endfor %}{% endfor %}"
)


def make_tiny_vlm(folder: Path) -> None:
    """Writes the model, its tokenizer and its processor into `folder`."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    image = int(tokenizer.convert_tokens_to_ids("<image>"))
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE_PX,
        patch_size=PATCH_PX, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32_768, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-1)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 1
    model.generation_config.exponential_decay_length_penalty = (12, 4.0)  # it would never come to an end by itself
    model.save_pretrained(folder)
    pictures = CLIPImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}
    )
    LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer, patch_size=PATCH_PX, vision_feature_select_strategy="default",
        chat_template=TEMPLATE, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip


def _tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>", "<image>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(["the hand closed beside the apple and came back"] * 8, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
