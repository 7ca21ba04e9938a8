"""The feature cache: features that earlier runs have extracted."""
