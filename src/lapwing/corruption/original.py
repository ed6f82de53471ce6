"""Nothing is done: the sources exist, and as many are drawn as would be corrupt (lap-core, quirk Q27)."""

from lapwing.corruption.base import Corruption

CORRUPTION = Corruption(title="Original Data", version=1, corrupts=False)
