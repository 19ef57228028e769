"""pi0 in this house: network, pre- and post-processing, checkpoint directory and the run-time adapter."""
