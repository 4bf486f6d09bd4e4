# bash completion for sluice. It asks the program itself for commands, options and topics, so that it is never behind it.
_sluice() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]-}
    local operands=0 config= i
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" -h 2>/dev/null | sed -n 's/^  \([a-z-]*\) .*/\1/p')" -- "$word")
        return
    fi
    case $before in
    --log-level) mapfile -t COMPREPLY < <(compgen -W "debug info warn error" -- "$word"); return ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$word"); return ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "text mermaid dot svg json" -- "$word"); return ;;
    --reference) mapfile -t COMPREPLY < <(compgen -W "configuration doctor metrics schema" -- "$word"); return ;;
    --state)
        case $command in
        chain) mapfile -t COMPREPLY < <(compgen -W "running aborted stuck undone closed" -- "$word") ;;
        delayed) mapfile -t COMPREPLY < <(compgen -W "delayed stuck unknown key" -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "open replayed dropped all" -- "$word") ;;
        esac
        return ;;
    --dir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    --data | --key | --id | --count | --contains | --timeout | --topic | --handler | --reason | --correlation | --since | --limit | --below | --rate | --why | --for | --chain | --older | --after) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$program" "$command" -h 2>/dev/null | grep -oE -- '--[a-z][a-z-]+' | sort -u)" -- "$word")
        return
    fi
    for (( i = 2; i < COMP_CWORD; i++ )); do
        [[ ${COMP_WORDS[i]} == -* ]] && continue
        case ${COMP_WORDS[i-1]} in --log-level | --log-format | --format | --dir | --data | --key | --id | --count | --contains | --timeout | --state | --topic | --handler | --reason | --correlation | --since | --limit | --below | --rate | --why | --for | --chain | --older | --after) continue ;; esac
        (( operands++ )) || config=${COMP_WORDS[i]}
    done
    case $command:$operands in
    emit:1 | tap:[1-9]*)
        mapfile -t COMPREPLY < <(compgen -W "$("$program" graph "$config" --format json 2>/dev/null |
            sed -n '/^  "topics": \[/,/^  \]/s/^      "\(name\|deadLetter\)": "\([^"]*\)".*/\2/p')" -- "$word") ;;
    dead-letter:0) mapfile -t COMPREPLY < <(compgen -W "list show replay edit drop" -- "$word") ;;
    inspect:0) mapfile -t COMPREPLY < <(compgen -f -X '!*.so' -- "$word"; compgen -d -- "$word") ;;
    delayed:0) mapfile -t COMPREPLY < <(compgen -W "list release cancel" -- "$word") ;;
    chain:0) mapfile -t COMPREPLY < <(compgen -W "list show resume abort close" -- "$word") ;;
    run:0 | validate:0 | graph:0 | emit:0 | tap:0 | explain:0 | pause:0 | resume:0 | doctor:0 | migrate:0 | dead-letter:1 | chain:1 | delayed:1)
        mapfile -t COMPREPLY < <(compgen -f -- "$word" | grep -E '\.ya?ml$'; compgen -d -- "$word") ;;
    esac
}
complete -o filenames -F _sluice sluice
