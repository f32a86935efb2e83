"""Image files in and out, and what a file knew about itself kept."""

from napari_dip.io.files import check_format, check_writable, read, sha256, split, write
from napari_dip.io.picture import Display, Picture, like, regridded, stacked, take

__all__ = [
    "Display",
    "Picture",
    "check_format",
    "check_writable",
    "like",
    "read",
    "regridded",
    "sha256",
    "split",
    "stacked",
    "take",
    "write",
]
