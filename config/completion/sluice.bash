# bash completion for sluice. It asks the program for commands, verbs, options, their values and topics, so that it is
# never behind it. Run as a program, for other shells: bash FILE WORD… prints what may stand in place of the last word, a
# line each, with a tab and what the help says of it.

_sluice_reply() { # WORD CANDIDATE…
    mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "$1")
}

# Of an option that takes a value: "debug|info" as its placeholder, or "text, dot or svg" as the end of its line.
_sluice_values() { # HELP OPTION WORD
    local line placeholder list='(^|: )([a-z]+(, [a-z]+)+( or [a-z]+)?)$'
    line=$(sed -n "s/^  $2 //p" <<<"$1")
    placeholder=${line%% *}
    line=$(sed 's/^[^ ]* *//; s/ ([^)]*)//g' <<<"$line")
    if [[ $placeholder == FOLDER ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$3")
    elif [[ $placeholder == *"|"* ]]; then
        _sluice_reply "$3" "${placeholder//|/ }"
    elif [[ $line =~ $list ]]; then
        line=${BASH_REMATCH[2]//,/}
        _sluice_reply "$3" "${line// or / }"
    fi
}

_sluice_topics() { # PROGRAM CONFIG WORD
    _sluice_reply "$3" "$("$1" graph "$2" --format json 2>/dev/null |
        sed -n '/^  "topics": \[/,/^  \]/s/^      "\(name\|deadLetter\)": "\([^"]*\)".*/\2/p')"
}

_sluice() {
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]-} word=${COMP_WORDS[COMP_CWORD]}
    local before=${COMP_WORDS[COMP_CWORD-1]} help valued usage verbs i
    local -a given=() wanted=()
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        _sluice_reply "$word" "$("$program" -h 2>/dev/null | sed -n 's/^  \([a-z-]*\) .*/\1/p')"
        return
    fi
    help=$("$program" "$command" -h 2>/dev/null) || return
    valued=" $(sed -n 's/^  \(--[a-z-]*\) [^ ].*/\1/p' <<<"$help" | tr '\n' ' ')" # one space, then its value
    if [[ $valued == *" $before "* ]]; then
        _sluice_values "$help" "$before" "$word"
        return
    elif [[ $word == -* ]]; then
        _sluice_reply "$word" "$(sed -n 's/^  \(-h, \)\{0,1\}\(--[a-z-]*\).*/\2/p' <<<"$help")"
        return
    fi
    for (( i = 2; i < COMP_CWORD; i++ )); do
        [[ ${COMP_WORDS[i]} == -* || $valued == *" ${COMP_WORDS[i-1]} "* ]] || given+=("${COMP_WORDS[i]}")
    done
    usage=$(sed -n "s/^\(usage:\|      \) sluice $command \([^[-].*\)/\2/p" <<<"$help")
    verbs=$(sed -n 's/^\([a-z|]*\) .*/\1/p' <<<"$usage")
    if [[ -n $verbs ]]; then
        if (( ${#given[@]} == 0 )); then
            _sluice_reply "$word" "${verbs//|/ }"
            return
        fi
        usage=$(grep -E "^([a-z|]*\|)?${given[0]}(\||\ )" <<<"$usage")
    fi
    usage=${usage%%$'\n'*}
    read -ra wanted <<<"${usage%%\[-*}" # the operands, before the options
    i=${#given[@]}
    while (( i > 0 && i >= ${#wanted[@]} )); do (( i-- )); done # TOPIC… is wanted again and again
    (( i == ${#given[@]} )) || [[ ${wanted[i]} == *… ]] || return
    case ${wanted[i]} in
    CONFIG*) mapfile -t COMPREPLY < <(compgen -f -- "$word" | grep -E '\.ya?ml$'; compgen -d -- "$word") ;;
    TOPIC* | NAME* | "[NAME]") _sluice_topics "$program" "${given[0]}" "$word" ;;
    PLUGIN.so) mapfile -t COMPREPLY < <(compgen -f -X '!*.so' -- "$word"; compgen -d -- "$word") ;;
    esac
}

if [[ ${BASH_SOURCE[0]} != "$0" ]]; then
    complete -o filenames -F _sluice sluice
else
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _sluice
    help=$("$1" $([ $# -gt 2 ] && echo "$2") -h 2>/dev/null)
    for reply in "${COMPREPLY[@]}"; do
        [[ -d $reply ]] && reply+=/
        what=$(sed -n "s/^  \(-h, \)\{0,1\}$reply\( [^ ][^ ]*\)\{0,1\}  *\(.*\)/\3/p" <<<"$help" 2>/dev/null | head -n 1)
        printf '%s\t%s\n' "$reply" "$what"
    done
fi
