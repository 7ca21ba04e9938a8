"""The feature families, one module each. `contract.families` lists them."""
