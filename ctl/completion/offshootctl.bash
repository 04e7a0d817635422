# Completion for offshootctl in bash: commands, options, files, and the names of environments.

_offshootctl_commands="resolve explain env graph token shadow proxies proxy providers status check trace \
top requests connections log metrics counters config reload drain log-level"

# Options that take the next word, beside those of files.
_offshootctl_valued=" --now --host --path --header --gateway -H --at --from --to --parent --set --use \
--remove --drop --for --owner --reason --timeout --limit \
--env --service --state --older --side --when --format --interval \
--keys --trust-domain --url --param \
--ignore --type --grpc-method --descriptors \
--pairs --candidate-only --secondary-only --epsilon --slot \
--baseline --candidate --secondary --rate --samples --credentials --redact --through --until \
--junit --output -o "

# Words of the command so far, without options and their values.
_offshootctl_words()
{
    local i word
    words=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ " --graph --socket --config -c$_offshootctl_valued" == *" $word "* ]]; then
            ((i++))
            [[ ${COMP_WORDS[i]} == = ]] && ((i++))
        elif [[ $word != -* ]]; then
            words+=("$word")
        fi
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
    local says="--set --use --remove --public --token"
    local change="--socket --reason --wait --timeout $common"
    case "${words[0]} ${words[1]}" in
        "resolve "*) echo "--graph --socket --now --batch --at $common" ;;
        "explain "*)
            echo "--graph --socket --now --host --path --header --trusted --subject --gateway --at $common"
            ;;
        "env create") echo "--parent --for --strict --owner --while-held $says $change" ;;
        "env set") echo "--drop --while-held $says $change" ;;
        "env extend") echo "--for --while-held $change" ;;
        "env delete") echo "--while-held $change" ;;
        "graph rollback" | "graph resume") echo "$change" ;;
        "env "*) echo "--graph --socket --now --at $common" ;;
        "graph diff") echo "--graph --socket --from --to $common" ;;
        "graph log") echo "--socket --limit $common" ;;
        "graph "*) echo "--graph $common" ;;
        "token issue") echo "--for --keys --trust-domain --explain --url --param --now $common" ;;
        "token "*) echo "--keys --trust-domain --now $common" ;;
        "shadow compare") echo "--ignore --type --grpc-method --descriptors --no-redact $common" ;;
        "shadow start")
            echo "--socket --baseline --candidate --service --path --rate --samples --for --epsilon \
--secondary --credentials --strict --descriptors --ignore --redact --redact-off --header --through --until --reason \
--wait --timeout $common"
            ;;
        "shadow stop" | "shadow restart") echo "--socket --reason $common" ;;
        "shadow show") echo "--socket --limit $common" ;;
        "shadow verdict") echo "--socket --wait --timeout --junit $common" ;;
        "shadow report") echo "--socket --limit --output ${common#--json }" ;;
        "shadow replay")
            echo "--candidate --through --rate --limit --header --ignore --descriptors --unsafe --keys --trust-domain \
$common"
            ;;
        "shadow evidence")
            echo "--pairs --candidate-only --secondary-only --epsilon --slot $common"
            ;;
        "proxy endpoint") echo "--socket --reason $common" ;;
        "proxies "*) echo "--socket --behind $common" ;;
        " ") echo "--graph --socket --check-config --print-config $common" ;;
        "top "*) echo "--socket --once --interval --limit $common" ;;
        "requests "*)
            echo "--socket --live --env --service --state --older --limit $common"
            ;;
        "connections "*) echo "--socket --side --state --older --limit $common" ;;
        "log "*) echo "--socket --when --format $common" ;;
        "metrics "* | "config "*) echo "--socket ${common#--json }" ;;
        *) echo "--socket $common" ;;
    esac
}

_offshootctl()
{
    local words current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $previous in
        --graph | --socket | --config | -c | --keys | --descriptors | --junit | --output | -o)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        --side)
            mapfile -t COMPREPLY < <(compgen -W "client provider" -- "$current")
            return
            ;;
        --slot)
            mapfile -t COMPREPLY < <(compgen -W "headline field" -- "$current")
            return
            ;;
        --credentials)
            mapfile -t COMPREPLY < <(compgen -W "forward strip" -- "$current")
            return
            ;;
        --until)
            mapfile -t COMPREPLY < <(compgen -W "decision limit" -- "$current")
            return
            ;;
        --format)
            mapfile -t COMPREPLY < <(compgen -W "text json otel" -- "$current")
            return
            ;;
        --parent | --env | --baseline | --candidate | --secondary)
            mapfile -t COMPREPLY < <(compgen -W "$(_offshootctl_environments)" -- "$current")
            return
            ;;
    esac
    [[ $_offshootctl_valued == *" $previous "* ]] && return
    _offshootctl_words
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_offshootctl_options)" -- "$current")
        return
    fi
    case "${#words[@]} ${words[0]} ${words[1]}" in
        "0 "*) mapfile -t COMPREPLY < <(compgen -W "$_offshootctl_commands" -- "$current") ;;
        "1 env "*) mapfile -t COMPREPLY < <(compgen -W "list show tree create set extend delete" -- "$current") ;;
        "1 graph "*)
            mapfile -t COMPREPLY < <(compgen -W "check diff root log rollback resume" -- "$current")
            ;;
        "1 token "*) mapfile -t COMPREPLY < <(compgen -W "issue show" -- "$current") ;;
        "1 shadow "*) mapfile -t COMPREPLY < <(compgen -W "compare evidence start stop \
restart list show verdict report replay" -- "$current") ;;
        "1 proxy "*) mapfile -t COMPREPLY < <(compgen -W "adopt endpoint drain upgrade" -- "$current") ;;
        "2 proxy endpoint")
            mapfile -t COMPREPLY < <(compgen -W "drain disable enable" -- "$current")
            ;;
        "1 log-level "*)
            mapfile -t COMPREPLY < <(compgen -W "error warn info debug" -- "$current")
            ;;
        "1 resolve "* | "2 token issue" | "2 env show" | "2 env set" | "2 env extend" | "2 env delete")
            mapfile -t COMPREPLY < <(compgen -W "$(_offshootctl_environments)" -- "$current")
            ;;
        ?*" proxy upgrade" | ?*" graph check" | ?*" graph diff" | ?*" graph root" | ?*" shadow compare" | ?*" shadow replay")
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
    esac
}

complete -F _offshootctl offshootctl
