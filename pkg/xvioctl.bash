# SPDX-License-Identifier: Apache-2.0
# Completion of xvioctl for bash. What may follow comes from xvioctl itself, which has the tables;
# where it offers nothing, bash offers files.
_xvioctl() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
	[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _xvioctl xvioctl
