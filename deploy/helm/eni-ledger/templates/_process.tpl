{{/*
One process as a Deployment: (dict "root" $ "process" name "kubernetes" bool "postgres" bool
"kafka" bool "env" extra "ports" extra "volumes" extra "mounts" extra), extras as lists.
*/}}
{{- define "eni-ledger.process" -}}
{{- $root := .root -}}
{{- $process := .process -}}
{{- $values := get $root.Values $process -}}
{{- $name := printf "%s-%s" (include "eni-ledger.name" $root) $process -}}
{{- $loopback := and $values.hostNetwork (not $root.Values.metrics.enabled) -}}
{{- $kafka := $root.Values.kafka -}}
{{- $incumbent := $root.Values.incumbent.configMap -}}
{{- $user := dict "password" dict "certificate" dict -}}
{{- if .kafka }}{{ $user = get $kafka.users $process }}{{ end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "eni-ledger.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $process }}
spec:
  replicas: {{ $values.replicas }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate:
      {{- if $values.hostNetwork }}
      # Ports of the host: where every node has a replica there is no room for one more.
      maxSurge: 0
      maxUnavailable: 1
      {{- else }}
      maxSurge: 1
      maxUnavailable: 0
      {{- end }}
  selector:
    matchLabels:
      {{- include "eni-ledger.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "eni-ledger.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $process }}
        {{- if $values.hostNetwork }}
        # Neither the incumbent nor we have anything to do with it.
        k8s.aliyun.com/ignore-by-terway: "true"
        {{- end }}
        {{- with $root.Values.placement.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/settings: {{ include "eni-ledger.settings" $root | sha256sum }}
        {{- with $root.Values.placement.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: {{ .kubernetes }}
      enableServiceLinks: false
      {{- if $values.hostNetwork }}
      hostNetwork: true
      dnsPolicy: {{ $root.Values.placement.dnsPolicy }}
      {{- end }}
      {{- if and $root.Values.placement.priorityClassName (ne $process "console") }}
      priorityClassName: {{ $root.Values.placement.priorityClassName }}
      {{- end }}
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- include "eni-ledger.podSecurity" $root | nindent 6 }}
      {{- include "eni-ledger.where" $root | nindent 6 }}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {key: type, operator: NotIn, values: [virtual-kubelet]}
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "eni-ledger.selector" . | nindent 20 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: {{ $root.Values.placement.zoneKey }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "eni-ledger.selector" . | nindent 14 }}
      containers:
        - name: {{ $process }}
          {{- include "eni-ledger.container" $root | nindent 10 }}
          args: [run, {{ $process }}]
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - name: ENI_LEDGER_CONFIG
              value: /etc/eni-ledger/settings/settings.yaml
            {{- if $incumbent.name }}
            - name: ENI_LEDGER_INCUMBENT_CONFIG
              value: /etc/eni-ledger/incumbent/ctrl-config.yaml
            {{- end }}
            - name: ENI_LEDGER_HTTP__HOST
              value: {{ if $loopback }}127.0.0.1{{ else }}$(POD_IP){{ end }}
            - name: ENI_LEDGER_HTTP__PORT
              value: {{ $values.httpPort | quote }}
            {{- if .postgres }}
            - name: ENI_LEDGER_POSTGRES__DSN
              valueFrom: {secretKeyRef: {name: {{ $root.Values.postgres.secret }}, key: {{ get $root.Values.postgres.keys $process }}}}
            {{- end }}
            {{- if $user.password.secret }}
            - name: ENI_LEDGER_KAFKA__SASL_USERNAME
              value: {{ $user.name }}
            - name: ENI_LEDGER_KAFKA__SASL_PASSWORD
              valueFrom: {secretKeyRef: {name: {{ $user.password.secret }}, key: {{ $user.password.key }}}}
            {{- end }}
            {{- if $user.certificate.secret }}
            - name: ENI_LEDGER_KAFKA__SSL_CERTFILE
              value: /etc/eni-ledger/kafka-client/tls.crt
            - name: ENI_LEDGER_KAFKA__SSL_KEYFILE
              value: /etc/eni-ledger/kafka-client/tls.key
            {{- end }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: http, containerPort: {{ $values.httpPort }}}
            {{- with .ports }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- $host := ternary "host: 127.0.0.1, " "" $loopback }}
          startupProbe:
            httpGet: { {{- $host }}path: /healthz, port: http}
            periodSeconds: 2
            failureThreshold: 45
          livenessProbe:
            httpGet: { {{- $host }}path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: { {{- $host }}path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          {{- with .lifecycle }}
          lifecycle:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            - {name: settings, mountPath: /etc/eni-ledger/settings, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            {{- if $incumbent.name }}
            - {name: incumbent, mountPath: /etc/eni-ledger/incumbent, readOnly: true}
            {{- end }}
            {{- if and .postgres $root.Values.postgres.ca.secret }}
            - {name: postgres-ca, mountPath: /etc/eni-ledger/postgres-ca, readOnly: true}
            {{- end }}
            {{- if and .kafka $kafka.ca.secret }}
            - {name: kafka-ca, mountPath: /etc/eni-ledger/kafka-ca, readOnly: true}
            {{- end }}
            {{- if $user.certificate.secret }}
            - {name: kafka-client, mountPath: /etc/eni-ledger/kafka-client, readOnly: true}
            {{- end }}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: settings
          configMap: {name: {{ include "eni-ledger.name" $root }}-settings}
        # In memory: the webhook's key passes through it on its way to OpenSSL, which reads files only.
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 16Mi}
        {{- if $incumbent.name }}
        - name: incumbent
          configMap: {name: {{ $incumbent.name }}, items: [{key: {{ $incumbent.key }}, path: ctrl-config.yaml}]}
        {{- end }}
        {{- if and .postgres $root.Values.postgres.ca.secret }}
        - name: postgres-ca
          secret: {secretName: {{ $root.Values.postgres.ca.secret }}, items: [{key: {{ $root.Values.postgres.ca.key }}, path: ca.crt}]}
        {{- end }}
        {{- if and .kafka $kafka.ca.secret }}
        - name: kafka-ca
          secret: {secretName: {{ $kafka.ca.secret }}, items: [{key: {{ $kafka.ca.key }}, path: ca.crt}]}
        {{- end }}
        {{- if $user.certificate.secret }}
        - name: kafka-client
          secret:
            secretName: {{ $user.certificate.secret }}
            items:
              - {key: {{ $user.certificate.certificateKey }}, path: tls.crt}
              - {key: {{ $user.certificate.privateKeyKey }}, path: tls.key}
        {{- end }}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{- define "eni-ledger.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.securityContext.runAsUser }}
  runAsGroup: {{ .Values.securityContext.runAsGroup }}
  fsGroup: {{ .Values.securityContext.runAsGroup }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "eni-ledger.where" -}}
{{- with .Values.placement.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.placement.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "eni-ledger.container" -}}
image: {{ include "eni-ledger.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [eni-ledger]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities: {drop: [ALL]}
{{- end -}}
