#!/usr/bin/env bash
# Deploys an overlay of deploy/k8s to the cluster that kubectl talks to, in the order of docs/deploy.md: engines, migrations, services.
#
#     scripts/deploy.sh staging ghcr.io/OWNER/admitone@sha256:...
#     scripts/deploy.sh dev                  # with the image that the overlay names
#
# It goes on only after what it did is ready, and ends with 1 at what is not: the old pods go on then. Running it again does no harm.
set -euo pipefail
cd "$(dirname "$0")/.."

{ [ $# = 1 ] || [ $# = 2 ]; } || { echo "usage: scripts/deploy.sh OVERLAY [IMAGE@sha256:...]" >&2; exit 2; }
overlay=deploy/k8s/overlays/$1 image=${2:-}
[ -f "$overlay/kustomization.yaml" ] || { echo "There is no $overlay." >&2; exit 2; }
if [ -n "$image" ] && ! [[ $image =~ ^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$ ]]; then
    echo "$image is no image with a digest (NAME@sha256:...)." >&2
    exit 2
fi
namespace=$(sed -n 's/^namespace: //p' "$overlay/kustomization.yaml")
service=app.kubernetes.io/component=service migration=app.kubernetes.io/component=migration
folder=$(mktemp -d -p deploy/k8s/overlays .deploy-XXXXXX)
trap 'rm -rf "$folder"' EXIT

# 1. Render, with the image's digest.
resources=$overlay
if [ -n "$image" ]; then
    named=$(sed -nE '/^ *- name: admitone$/,/^[a-z]/ s/^ *newName: *([^ ]+).*/\1/p' "$overlay/kustomization.yaml")
    printf '{resources: [../%s], images: [{name: "%s", newName: "%s", digest: "%s"}]}\n' \
        "$1" "${named:-admitone}" "${image%@*}" "${image#*@}" >"$folder/kustomization.yaml"
    resources=$folder
fi
kubectl kustomize "$resources" >"$folder/all.yaml"
grep -q "image: $image" "$folder/all.yaml" || { echo "$overlay has no image admitone to be replaced." >&2; exit 1; }

# 2. The engines, and all that is around them.
kubectl apply -f "$folder/all.yaml" -l 'app.kubernetes.io/component notin (service,migration)'
kubectl -n "$namespace" wait --for=condition=Ready cluster/postgres --timeout=10m
kubectl -n "$namespace" wait --for=jsonpath='{.status.applied}'=true database --all --timeout=5m
kubectl -n "$namespace" rollout status statefulset/nats --timeout=10m

# 3. The migrations: a Job can't be changed, so those of the last time go first.
kubectl -n "$namespace" delete job -l "$migration" --ignore-not-found
kubectl apply -f "$folder/all.yaml" -l "$migration"
kubectl -n "$namespace" wait --for=condition=complete job -l "$migration" --timeout=10m

# 4. The services.
kubectl apply -f "$folder/all.yaml" -l "$service"
for name in auth tickets orders expiration payments web; do
    kubectl -n "$namespace" rollout status "deployment/$name" --timeout=5m
done
echo "$1 is deployed in namespace $namespace${image:+, with $image}."
