#!/bin/bash
# Writes the variables KAFKA_* as properties, as the official image does (_ is a dot, __ an underscore,
# ___ a hyphen), makes the storage at the first start, and becomes the broker.
set -euo pipefail
properties=/tmp/server.properties

{
  echo 'log.dirs=/var/lib/kafka/data'
  while IFS='=' read -r -d '' name value; do
    case $name in
      KAFKA_HEAP_OPTS) ;; # the JVM's
      KAFKA_*)
        name=${name#KAFKA_} name=${name//___/-} name=${name//__/%} name=${name//_/.} name=${name//%/_}
        printf '%s=%s\n' "${name,,}" "$value"
        ;;
    esac
  done < <(env -0)
} >"$properties"

run=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*')
read -ra heap <<<"${KAFKA_HEAP_OPTS:--Xmx320m}"
"${run[@]}" kafka.tools.StorageTool format --ignore-formatted \
  --cluster-id "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" --config "$properties"
exec "${run[@]}" "${heap[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=info kafka.Kafka "$properties"
