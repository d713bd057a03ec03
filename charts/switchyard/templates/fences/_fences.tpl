{{- /* Binds a policy of the same name. Takes the root and the name. */ -}}
{{- define "switchyard.binding" -}}
{{- with .root.Values.fences.actions }}
{{- if and (has "Deny" .) (has "Warn" .) }}
{{- fail "fences.actions: a request is either refused or warned of; take out Deny or Warn" }}
{{- end }}
{{- end -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "switchyard.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: {{- toYaml .root.Values.fences.actions | nindent 2 }}
{{- end }}

{{- /* Restricts a policy to requests of the operator, and of the Job that takes its marks away. */ -}}
{{- define "switchyard.byOperator" -}}
- name: by-the-operator
  expression: >-
    request.userInfo.username in
    ['{{ include "switchyard.user" . }}', '{{ include "switchyard.user" . }}-release']
{{- end }}

{{- /* Variables about `variables.spec`, the pod of a miner. */ -}}
{{- define "switchyard.minerVariables" -}}
- name: containers
  expression: >-
    variables.spec.?containers.orValue([]) + variables.spec.?initContainers.orValue([])
    + variables.spec.?ephemeralContainers.orValue([])
- name: volumes
  expression: variables.spec.?volumes.orValue([])
- name: secrets
  expression: >-
    namespaceObject.metadata.?annotations[?'switchyard.dev/miner-secrets'].orValue('')
    .split(',').map(name, name.trim())
{{- end }}

{{- /* What the pod of a miner may not ask for. What the operator fills in may be missing here. */ -}}
{{- define "switchyard.minerRules" -}}
- expression: >-
    !variables.spec.?hostNetwork.orValue(false) && !variables.spec.?hostPID.orValue(false)
    && !variables.spec.?hostIPC.orValue(false)
    && variables.containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))
  message: >-
    a miner may not share anything with its host: remove hostNetwork, hostPID, hostIPC and hostPort
    from the template
  reason: Forbidden
- expression: >-
    variables.containers.all(c, ['livenessProbe', 'readinessProbe', 'startupProbe'].all(k,
    ['httpGet', 'tcpSocket'].all(h, c[?k][?h].?host.orValue('') == '')))
    && variables.containers.all(c, ['postStart', 'preStop'].all(k,
    ['httpGet', 'tcpSocket'].all(h, c.?lifecycle[?k][?h].?host.orValue('') == '')))
  message: >-
    a miner may not let the kubelet call other hosts: remove `host` from the probes and lifecycle
    hooks of the template
  reason: Forbidden
- expression: >-
    variables.volumes.all(v, v.all(kind, kind in
    ['name', 'emptyDir', 'configMap', 'downwardAPI', 'secret', 'projected']))
  message: >-
    a miner may mount only emptyDir, configMap, downwardAPI, secret and projected volumes
  reason: Forbidden
- expression: >-
    variables.volumes.all(v, v.?projected.?sources.orValue([]).all(s, s.all(kind, kind in
    ['configMap', 'downwardAPI', 'secret'])))
    && variables.spec.?serviceAccountName.orValue('default') in ['', 'default']
    && variables.spec.?serviceAccount.orValue('default') in ['', 'default']
    && !variables.spec.?automountServiceAccountToken.orValue(false)
  message: >-
    a miner gets no service account and no token: remove serviceAccountName,
    automountServiceAccountToken and projected tokens from the template
  reason: Forbidden
- expression: >-
    variables.volumes.all(v, !has(v.secret) || v.secret.?secretName.orValue('') in variables.secrets)
    && variables.volumes.all(v, v.?projected.?sources.orValue([]).all(s,
    !has(s.secret) || s.secret.?name.orValue('') in variables.secrets))
    && variables.containers.all(c, c.?env.orValue([]).all(e,
    !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef)
    || e.valueFrom.secretKeyRef.?name.orValue('') in variables.secrets))
    && variables.containers.all(c, c.?envFrom.orValue([]).all(e,
    !has(e.secretRef) || e.secretRef.?name.orValue('') in variables.secrets))
    && variables.spec.?imagePullSecrets.orValue([]).all(s, s.?name.orValue('') in variables.secrets)
  messageExpression: >-
    'a miner may use only Secrets that its namespace lists: kubectl annotate namespace '
    + request.namespace + ' switchyard.dev/miner-secrets=NAME,NAME'
  reason: Forbidden
- expression: >-
    variables.containers.all(c, !c.?securityContext.?privileged.orValue(false)
    && !c.?securityContext.?allowPrivilegeEscalation.orValue(false)
    && c.?securityContext.?capabilities.?add.orValue([]).size() == 0
    && c.?securityContext.?procMount.orValue('Default') == 'Default')
    && variables.spec.?securityContext.?sysctls.orValue([]).size() == 0
  message: >-
    a miner gets no privileges: remove privileged, allowPrivilegeEscalation, added capabilities,
    procMount and sysctls from the template
  reason: Forbidden
- expression: >-
    ([variables.spec] + variables.containers).all(p,
    p.?securityContext.?runAsNonRoot.orValue(true)
    && p.?securityContext.?runAsUser.orValue(1) != 0
    && p.?securityContext.?seccompProfile.?type.orValue('RuntimeDefault') != 'Unconfined'
    && p.?securityContext.?appArmorProfile.?type.orValue('RuntimeDefault') != 'Unconfined'
    && !p.?securityContext.?seLinuxOptions.hasValue()
    && !p.?securityContext.?windowsOptions.?hostProcess.orValue(false))
  message: >-
    a miner runs confined and not as root: remove runAsUser 0, runAsNonRoot false, Unconfined
    profiles, seLinuxOptions and hostProcess from the template
  reason: Forbidden
- expression: >-
    variables.spec.?priorityClassName.orValue('') in
    ['', {{ printf "'%s'" .Values.minerPriorityClass.name }}
    {{- range .Values.minerPriorityClass.alsoAllowed }}, {{ printf "'%s'" . }}{{ end }}]
  message: >-
    a miner may not go before other pods: leave priorityClassName out of the template, or have the
    class added to minerPriorityClass.alsoAllowed of the chart
  reason: Forbidden
- expression: variables.spec.?nodeName.orValue('') == ''
  message: "a miner goes where the scheduler puts it: remove nodeName from the template"
  reason: Forbidden
{{- end }}
