"""Methods to train on sources of unknown reliability, one file each."""

from lapwing.registry import Registry

methods = Registry("lapwing.methods", "method", "METHOD")
