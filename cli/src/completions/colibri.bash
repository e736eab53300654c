# The names of a kind that begin with a word. compgen -W would evaluate them. A colon
# and an equals sign split words in bash, so a name that has one is left out.
_colibri_names() { # PRINT-THEM WORD
    local name quoted
    COMPREPLY=()
    # shellcheck disable=SC2086 # a verb and its option
    while IFS= read -r name; do
        [[ $name == *[:=]* ]] && continue
        printf -v quoted %q "$name"
        [[ $quoted == "$2"* ]] && COMPREPLY+=("$quoted")
    done < <(command colibri $1 2>/dev/null)
    return 0
}

# A name where one stands; else what clap knows.
_colibri_or_name() {
    local at word verb= option= place=1 names=
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        case $word in
        --) break ;;
        OPTIONS)
            option=$word
            ((at++))
            [[ ${COMP_WORDS[at]} == = ]] && ((at++))
            ;;
        -*) ;;
        *)
            if [[ -z $verb ]]; then verb=$word; else ((place++)); fi
            ;;
        esac
    done
    if ((at > COMP_CWORD)); then
        word="$verb $option"
    elif [[ $2 == -* || $at -lt $COMP_CWORD ]]; then
        word=
    else
        word="$verb $place"
    fi
    case $word in
    CASES
    esac
    if [[ $names ]]; then _colibri_names "$names" "$2"; else _colibri "$@"; fi
}
