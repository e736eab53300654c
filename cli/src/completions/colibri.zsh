# The names of a kind, as they are.
_colibri_names() { # PRINT THEM
    local -a names
    names=("${(@f)$(command colibri "$@" 2>/dev/null)}")
    names=("${(@)names:#}")
    compadd -a names
}
