"""What datasets and their corruptions are made of."""

from math import prod

from lapwing.datasets import datasets
from lapwing.datasets.download import marks_of_part


def datasets_of(inputs):
    """The datasets whose inputs are numbers, or tokens: texts have a stage of their own, with torchtext."""
    return {name for name in plan.datasets if datasets.get(name).inputs == inputs}


def files_of_dataset(wildcards):
    """What decides the raw files: their names and digests, not where they come from; of a part what the mirror holds."""
    dataset = datasets.get(wildcards.dataset)
    files = [[file.name, file.size, file.sha256 or file.md5] for file in dataset.files]
    if not plan.part:
        return files
    marks = marks_of_part(dataset, plan.settings.data.mirror, plan.raw / wildcards.dataset)
    return [*files, "part", *map(list, marks.items())]


def raw_of_dataset(wildcards):
    """Its own raw folder first, then those of the datasets that it uses."""
    names = [wildcards.dataset, *datasets.get(wildcards.dataset).uses]
    return [f"<raw>/{name}" for name in names]


def version_of_dataset(wildcards):
    """Its own version, with those of the datasets that it reads too."""
    dataset = datasets.get(wildcards.dataset)
    further = [datasets.get(name).version for name in dataset.uses] + ["part"] * plan.part
    return [dataset.version, *further] if further else dataset.version


def memory_of_dataset(wildcards):
    """Megabytes to prepare it: what is large is streamed, two batches of ImageNet64 (3.1 GB) at most."""
    dataset = datasets.get(wildcards.dataset)
    values = sum(dataset.rows.values()) * prod(dataset.input_shape)
    return 3000 + min(4 * values // 10**6, 3000)


def settings_of_corruption(wildcards):
    return plan.corruptions[wildcards.key].model_dump(mode="json")
