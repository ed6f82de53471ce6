"""The parts of residual networks for small images (He et al. 2016)."""

from torch import Tensor, nn
from torch.nn.functional import pad, relu


class Block(nn.Module):
    """Two convolutions 3 x 3 with batch norm, and a shortcut around them that has no weights."""

    def __init__(self, features: int, wide: int, stride: int) -> None:
        """Channels in, channels out, and by what the resolution is divided."""
        super().__init__()
        self.convolution_1 = nn.Conv2d(features, wide, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(wide)
        self.convolution_2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(wide)
        self.stride = stride
        self.padding = (wide - features) // 2, wide - features - (wide - features) // 2

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H', W']."""
        hidden = relu(self.norm_1(self.convolution_1(inputs)))
        return relu(self.norm_2(self.convolution_2(hidden)) + self._shortcut(inputs))

    def _shortcut(self, inputs: Tensor) -> Tensor:
        """The inputs at the block's resolution, with channels of zeros before and behind their own."""
        return pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padding))


class ProjectedBlock(nn.Module):
    """Convolutions with batch norm, and a shortcut around them: the identity, or else a convolution 1 x 1."""

    def __init__(self, convolutions: nn.Sequential, features: int, wide: int, stride: int) -> None:
        """What lies beside the shortcut, channels in, channels out, and by what the resolution is divided."""
        super().__init__()
        self.features = wide
        self.convolutions = convolutions
        self.shortcut = nn.Sequential()
        if stride != 1 or features != wide:
            self.shortcut.append(nn.Conv2d(features, wide, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(wide))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H', W']."""
        return relu(self.convolutions(inputs) + self.shortcut(inputs))


class BasicBlock(ProjectedBlock):
    """Two convolutions 3 x 3."""

    def __init__(self, features: int, width: int, stride: int) -> None:
        """Channels in, channels out, and by what the resolution is divided."""
        convolutions = nn.Sequential(
            nn.Conv2d(features, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        super().__init__(convolutions, features, width, stride)


class Bottleneck(ProjectedBlock):
    """A convolution 3 x 3 of few channels between two of 1 x 1; four times as many channels come out."""

    def __init__(self, features: int, width: int, stride: int) -> None:
        """Channels in, channels in the middle, and by what the resolution is divided."""
        convolutions = nn.Sequential(
            nn.Conv2d(features, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        super().__init__(convolutions, features, 4 * width, stride)


class GlobalAverage(nn.Module):
    """The mean of each feature map."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C]."""
        return inputs.mean((2, 3))
