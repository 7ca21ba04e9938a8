"""Checks of an AWS account before anything is created or costs money. They only read."""
