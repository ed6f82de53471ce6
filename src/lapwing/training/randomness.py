"""Randomness as pure functions of (seed, purpose, epoch or step): nothing to save, all streams apart."""

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit number that belongs to a seed and a purpose, for instance `derive(2, "order", epoch)`."""
    text = repr((int(seed), *purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A fresh generator on the host for a seed and a purpose."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def random_words(keys: Tensor, calls: Tensor, positions: Tensor) -> Tensor:
    """32 random bits for each position: a counter hash, the same alone and in company.

    A Weyl sequence per (key, call) goes through the finaliser of MurmurHash3, with a second word of
    key and call mixed in half way. Nothing waits for the device.

    Args:
        keys: int32, one per replica and place of use.
        calls: int32, broadcast against the keys: which use this is.
        positions: int32, broadcast against what keys and calls give and one more axis.

    Returns:
        [..., positions] int32, uniform; the axes in front are those of keys and calls.
    """
    first = _mixed(keys ^ _mixed(calls * _signed(0x9E3779B9) + 1))
    second = _mixed(first + _signed(0x6C078965))
    return _mixed(positions * _signed(0x9E3779B9) + first.unsqueeze(-1), second.unsqueeze(-1))


def random_bits(keys: Tensor, calls: Tensor, number: int) -> Tensor:
    """16 random bits for each of `number` positions; each of `random_words` serves two of them.

    Args:
        keys: int32, one per replica and place of use.
        calls: int32, broadcast against the keys: which use this is.
        number: positions.

    Returns:
        [..., number] int16, uniform over -2^15 ... 2^15 - 1; the axes in front are those of keys and calls.
    """
    counted = torch.arange((number + 1) // 2, dtype=torch.int32, device=keys.device)
    bits = random_words(keys, calls, counted)
    return torch.cat((bits.to(torch.int16), (bits >> 16).to(torch.int16)), -1)[..., :number]


def _mixed(x: Tensor, also: Tensor | int = 0) -> Tensor:
    """MurmurHash3's finaliser on int32; its shifts keep the sign, so the bits they bring in are masked."""
    x = (x ^ (x >> 16).bitwise_and_(0xFFFF)).mul_(_signed(0x85EBCA6B)).add_(also)
    x = (x ^ (x >> 13).bitwise_and_(0x7FFFF)).mul_(_signed(0xC2B2AE35))
    return x ^ (x >> 16).bitwise_and_(0xFFFF)


def _signed(word: int) -> int:
    """A 32-bit word as the int32 with the same bits."""
    return word - (1 << 32) if word >> 31 else word
