"""Restore any scientific image from that image alone: the deep image prior."""
