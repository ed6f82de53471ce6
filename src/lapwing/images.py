"""The images of the jobs' containers: what they say of themselves, and whether they can be used."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lapwing.code import Code, stale_image
from lapwing.errors import UserError

NOT_SAID = "unknown"
"""The label of an image that was built by hand."""


def labels_of(image: Path) -> dict[str, str]:
    """The labels of an image; none where it cannot be asked."""
    program = shutil.which("apptainer") or shutil.which("singularity")
    if program is None or not image.is_file():
        return {}
    command = [program, "inspect", "--json", "--labels", str(image)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no shell reads it
    try:
        labels: dict[str, str] | None = json.loads(answer.stdout)["data"]["attributes"]["labels"]
    except (ValueError, LookupError, TypeError):
        return {}
    return labels or {}


def check_images(images: Iterable[Path]) -> None:
    """Compare images that jobs will use with this Lapwing; what one does not say, its jobs find out.

    Raises:
        UserError: one is not there, or holds another Lapwing; says what to do about it.
    """
    images = sorted(images)
    if missing := [str(image) for image in images if not image.is_file()]:
        raise UserError(f"There is no {' and no '.join(missing)}; build what is missing: make containers")
    own = Code.here()
    for image in images:
        if labels_of(image).get("lapwing.code", NOT_SAID) not in (NOT_SAID, own.digest):
            raise stale_image(str(image), own)
