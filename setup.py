"""What pyproject.toml cannot say: the files by which ROS 2 finds the package `runtime`, and the shipped models.

One tree serves `pip install .`, `pip install -e .` and `colcon build`.
"""

from pathlib import Path

from setuptools import Distribution, setup

ROOT = Path(__file__).parent
COLCON_LINKS = ["pyproject.toml", "README.md"]
"""`colcon build --symlink-install` builds in a folder of its own, in which only data files are linked besides code."""


class RosDistribution(Distribution):
    """A distribution whose data files also reach an editable install and whose options colcon can read."""

    def has_data(self) -> bool:
        """Whether data files are installed; editable builds ask this and leave them out when it says no."""
        return bool(self.has_data_files())

    def parse_config_files(self, filenames: list[str] | None = None, ignore_option_errors: bool = False) -> None:
        """Reads the configuration, then keeps the Python version as text: colcon evaluates these options' repr."""
        super().parse_config_files(filenames, ignore_option_errors)
        required = self.metadata.python_requires
        if required:
            self.python_requires = self.metadata.python_requires = str(required)


def files(*patterns: str) -> list[str]:
    """Returns the files of this tree that match, as setuptools wants them."""
    return sorted(str(file.relative_to(ROOT)) for pattern in patterns for file in ROOT.glob(pattern) if file.is_file())


def shipped_models() -> list[tuple[str, list[str]]]:
    """Returns every folder of `models/` with its files, to be installed below share/regrasp."""
    folders: dict[str, list[str]] = {}
    for file in sorted((ROOT / "models").rglob("*")):
        if file.is_file():
            where = file.relative_to(ROOT)
            folders.setdefault(f"share/regrasp/{where.parent}", []).append(str(where))
    return list(folders.items())


setup(
    distclass=RosDistribution,
    license="Apache-2.0",
    zip_safe=False,
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/runtime"]),
        ("share/runtime", ["package.xml", *COLCON_LINKS]),
        ("share/runtime/launch", files("launch/*.launch.py", "launch/*.yaml")),
        ("share/runtime/config", files("config/*")),
        ("share/runtime/config/gaps", files("config/gaps/*")),
        ("lib/runtime", files("ros_bin/*")),
        *shipped_models(),
    ],
)
