"""Network architectures, one file each."""

from lapwing.registry import Registry

models = Registry("lapwing.models", "model", "MODEL")
