# bash completion for qemu-age
#
# tests/scripts/test_completion.py holds these lists against the program's own.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash

# The options of a command
_qemu_age_options() {
    case $1 in
    record)
        echo --output --for --interval --dirty --flush --history --name --quiet
        ;;
    report)
        echo --json --time --address --memory --node --windows --over-time
        echo --bins --thresholds --goal --share --idle --size --count --rows
        echo --columns --palette --colour --png --svg --dirty
        ;;
    export)
        echo --to --output --fold --bins --idle --offset --dirty --time
        echo --address --memory --node
        ;;
    exporter) echo --listen --interval --dirty --flush --history ;;
    top) echo --for --guest --interval --dirty --flush --history ;;
    tables) echo --leaves --tables --summary ;;
    *) echo --version ;;
    esac
    echo --help
}

# What an option may be, for those that have a choice
_qemu_age_values() {
    case $1 in
    --flush) echo none request ;;
    --palette) echo hot grey ;;
    --colour) echo auto always never ;;
    --to) echo damo lru_gen csv page_idle vab prefetch ;;
    esac
}

# What stands where no option does
_qemu_age_words() {
    case $1 in
    "") echo record report export exporter top tables ;;
    report)
        echo summary wss idle promotions hot cold dirty check heatmap
        ;;
    esac
}

# The command that is on the line already, if any
_qemu_age_command() {
    local word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        -*) ;;
        *) echo "$word"; return ;;
        esac
    done
}

_qemu_age() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command values
    command=$(_qemu_age_command)
    values=$(_qemu_age_values "$before")
    if [ -z "$values" ]; then
        case $word in
        -*) values=$(_qemu_age_options "$command") ;;
        *) values=$(_qemu_age_words "$command") ;;
        esac
    fi
    # Files are what bash adds by itself where nothing of this fits.
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
}

complete -o default -F _qemu_age qemu-age
