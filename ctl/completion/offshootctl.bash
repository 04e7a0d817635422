# Completion for offshootctl in bash: commands, options, files, and the names of environments.

_offshootctl_commands="resolve explain env graph status check trace metrics counters config reload \
drain log-level"

# Words of the command so far, without options and their values.
_offshootctl_words()
{
    local i word
    words=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            --graph | --socket | --now | --host | --path | --header | --gateway | --config | -H | -c)
                ((i++))
                [[ ${COMP_WORDS[i]} == = ]] && ((i++))
                ;;
            -*) ;;
            *) words+=("$word") ;;
        esac
    done
}

# Names of environments, asked with the --graph and --socket that were typed already.
_offshootctl_environments()
{
    local i where=()
    for ((i = 1; i < COMP_CWORD - 1; i++)); do
        case ${COMP_WORDS[i]} in
            --graph | --socket) where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    "${COMP_WORDS[0]}" "${where[@]}" env list 2>/dev/null | sed -n '1!s/ .*//p'
}

_offshootctl_options()
{
    local common="--json --help --version --config"
    case "${words[0]} ${words[1]}" in
        "resolve "*) echo "--graph --socket --now --batch $common" ;;
        "explain "*) echo "--graph --socket --now --host --path --header --trusted --gateway $common" ;;
        "env "*) echo "--graph --socket --now $common" ;;
        "graph "*) echo "--graph $common" ;;
        " ") echo "--graph --socket --check-config --print-config $common" ;;
        "metrics "* | "config "*) echo "--socket ${common#--json }" ;;
        *) echo "--socket $common" ;;
    esac
}

_offshootctl()
{
    local words current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $previous in
        --graph | --socket | --config | -c)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        --now | --host | --path | --header | --gateway | -H) return ;;
    esac
    _offshootctl_words
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_offshootctl_options)" -- "$current")
        return
    fi
    case "${#words[@]} ${words[0]} ${words[1]}" in
        "0 "*) mapfile -t COMPREPLY < <(compgen -W "$_offshootctl_commands" -- "$current") ;;
        "1 env "*) mapfile -t COMPREPLY < <(compgen -W "list show tree" -- "$current") ;;
        "1 graph "*) mapfile -t COMPREPLY < <(compgen -W "check diff root" -- "$current") ;;
        "1 log-level "*)
            mapfile -t COMPREPLY < <(compgen -W "error warn info debug" -- "$current")
            ;;
        "1 resolve "* | "2 env show")
            mapfile -t COMPREPLY < <(compgen -W "$(_offshootctl_environments)" -- "$current")
            ;;
        ?*" graph "*)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
    esac
}

complete -F _offshootctl offshootctl
