# Clients of local AWS and of Airflow do not use the proxy of the network.
# shellcheck shell=bash
no_proxy=${no_proxy:-${NO_PROXY:-}}
export no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"
export NO_PROXY="$no_proxy"
