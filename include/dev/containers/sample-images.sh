#!/usr/bin/env bash
# Upload the application to the local AWS, draw the sample images and upload those that are missing in the bucket.
# Options are those of `include.dev.sample_images`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh

python -m include.dev.local_aws.deployment

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m include.dev.sample_images "$folder" "$@"
python -m include.deploy.upload_images "$folder" "s3://${FRUITS_BUCKET:-fruits}/${FRUITS_IMAGE_PREFIX-images/}"
