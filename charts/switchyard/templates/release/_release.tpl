{{- /* Made when the chart is uninstalled, before anything else goes; gone when that went well. */ -}}
{{- define "switchyard.releaseHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
