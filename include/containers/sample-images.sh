#!/usr/bin/env bash
# Draws the sample images and uploads those that the bucket does not have yet; options go to `include.sample_images`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. include/environment.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m include.sample_images "$folder" "$@"
python -m include.upload_images "$folder" "s3://${FRUITS_BUCKET:-fruits}/${FRUITS_IMAGE_PREFIX-images/}"
