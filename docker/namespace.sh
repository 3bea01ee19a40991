#!/bin/sh
# Register the Namespace unless it is there, then wait until it answers; safe to run again.
# Address and name come from TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.
set -eu

tries=60

wait_or_give_up() {
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "Namespace $TEMPORAL_NAMESPACE is not usable on $TEMPORAL_ADDRESS; giving up" >&2
        exit 1
    fi
    sleep 1
}

until temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; do
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 168h || wait_or_give_up
done

# A new Namespace takes a moment to reach every part of the server.
until temporal workflow list --namespace "$TEMPORAL_NAMESPACE" --limit 1 >/dev/null 2>&1; do
    wait_or_give_up
done
echo "Namespace $TEMPORAL_NAMESPACE is ready on $TEMPORAL_ADDRESS"
