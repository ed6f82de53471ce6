# For the commands in bin.
# ask SECONDS COMMAND…: what it answers within so many seconds, and its exit code; a query that fails is noted in a file.
# A folder that cannot be written to must not spoil the answer.
ask() {
    { error=$(timeout -k 3 "$@" 2>&1 >&3 3>&-); } 3>&1
    code=$?
    [ $code -eq 0 ] || {
        mkdir -p outputs/slurm-logs
        printf '%s %s, exit code %s: %s\n' "$(date +%FT%T)" "${2##*/}" $code \
            "$(printf '%s' "${error:-no answer}" | tail -n 1)" >>outputs/slurm-logs/queue.log
    } 2>/dev/null
    return $code
}
