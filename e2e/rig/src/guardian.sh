# Ends what a process started when that process is gone, however it went: the kernel closes our
# stdin then. Until then it tells us, a line at a time, which process groups there are.
#   add GROUP     to be ended later     forget GROUP  has ended
#   kill GROUP    end it now            term GROUP    ask it to end
#   spare         leave the directory   keep          leave everything
trap '' INT TERM HUP
directory=$1
groups=' '
spare=

forget() {
    case $groups in
        *" $1 "*) groups="${groups%%" $1 "*} ${groups#*" $1 "}" ;;
    esac
}

while read -r command group; do
    case $command in
        add) groups="$groups$group " ;;
        forget) forget "$group" ;;
        kill) kill -s KILL -- "-$group" ;;
        term) kill -s TERM -- "-$group" ;;
        spare) spare=yes ;;
        keep)
            # A pid alone does not say who it is: what it runs is kept beside it for stop.sh.
            mkdir -p "$directory/kept"
            for group in $groups; do
                ps -o args= -p "$group" > "$directory/kept/$group"
            done
            exit
            ;;
    esac
done

for group in $groups; do
    kill -s KILL -- "-$group"
done
[ "$spare" ] && exit

# A process that is being killed may still write for a moment.
tries=0
until rm -rf -- "$directory" || [ "$tries" -eq 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
