"""Development and demonstration: the local AWS, sample images, containers. Not used on AWS."""
