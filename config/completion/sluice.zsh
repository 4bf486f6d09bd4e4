#compdef sluice
# zsh completion for sluice: what the completion for bash says, which asks the program.
_sluice() {
    local line
    local -a folders others
    for line in "${(@f)$(bash @SHARE@/bash-completion/completions/sluice "${(@Q)words[1,CURRENT]}" 2>/dev/null)}"; do
        if [[ ${line%%$'\t'*} == */ ]]; then
            folders+=("${line%%$'\t'*}")
        elif [[ -n $line ]]; then
            others+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( ${#others} )) && _describe -o 'sluice' others
    (( ${#folders} )) && compadd -S '' -a folders
    return 0
}
_sluice "$@"
