# Sourced: `phase NAME COMMAND…` runs it, names it, and says how long it took.
phase() {
  local name=$1 started=$SECONDS
  shift
  printf -- '--- %s\n' "$name"
  if "$@"; then
    printf -- '--- %s: passed in %d s\n' "$name" $((SECONDS - started))
  else
    local code=$?
    printf -- '--- %s: FAILED after %d s: %s\n' "$name" $((SECONDS - started)) "$*" >&2
    return "$code"
  fi
}
