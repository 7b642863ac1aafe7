"""The mappings and samples that ship with the product, found by name in a checkout and when installed."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import SettingsError, did_you_mean

_PACKAGE = Path(__file__).parents[2]


def _directory(name: str) -> Path:
    """The directory of this name: inside the package in a wheel, beside the package in a checkout."""
    inside = _PACKAGE / "shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def shipped_names() -> tuple[str, ...]:
    """The names of all shipped mappings, sorted."""
    return tuple(sorted(file.stem for file in _directory("mappings").glob("*.yaml")))


def shipped_mapping(name: str) -> Path:
    """The file of a shipped mapping.

    Raises:
        SettingsError: There is none of that name.
    """
    names = shipped_names()
    if name not in names:
        raise SettingsError(
            f"There is no shipped mapping '{name}'{did_you_mean(name, names)}",
            hint=f"Shipped are {', '.join(names)}.",
        )
    return _directory("mappings") / f"{name}.yaml"


def shipped_sample(name: str) -> Path:
    """The sample for a shipped mapping: a file, or a directory where the export is several files.

    Raises:
        SettingsError: There is no sample for that mapping.
    """
    found = sorted(_directory("sample_data").glob(f"{name}.*")) or [_directory("sample_data") / name]
    if not found[0].exists():
        raise SettingsError(f"There is no sample for the mapping '{name}'.")
    return found[0]


def find_mapping(path_or_name: str) -> Path:
    """The file that `-m` names: an existing file, otherwise a shipped mapping of that name.

    Raises:
        SettingsError: There is neither.
    """
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise SettingsError(f"The mapping {path} is a directory; a YAML file was expected.")
    names = shipped_names()
    if path_or_name in names:
        return shipped_mapping(path_or_name)
    beside = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    raise SettingsError(
        f"There is no mapping '{path_or_name}': no such file, and none of that name is shipped"
        f"{did_you_mean(path.name, [*beside, *names])}",
        hint=f"Shipped are {', '.join(names)}.",
    )
