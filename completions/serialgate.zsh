#compdef serialgate

autoload -U is-at-least

_serialgate() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_serialgate_commands" \
"*::: :->serialgate" \
&& ret=0
    case $state in
    (serialgate)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(demo)
_arguments "${_arguments_options[@]}" : \
'--seconds=[How long the story takes; the link is cut for a bit more than a third of it]:SECONDS:_default' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(sim)
_arguments "${_arguments_options[@]}" : \
'--link=[Where the port lies; further wire boards get LINK.1, LINK.2 and so on]:LINK:_files' \
'--format=[What the boards speak]:FORMAT:((wire\:"Wire v1, with acknowledgements\: each board has a port of its own"
json\:"One JSON object per line\: all boards share one port"))' \
'--rate=[Readings per second of each board]:HZ:_default' \
'--devices=[How many boards; JSON boards share one port]:N:_default' \
'--ledger=[Write what is produced and acknowledged to FILE, as JSON lines]:FILE:_files' \
'--count=[Stop after N readings of each board]:N:_default' \
'--seconds=[Stop taking readings after S seconds]:S:_default' \
'--linger=[Wait at most S seconds, after the last reading, for acknowledgements]:S:_default' \
'--noise=[Probability that a byte is damaged, in both directions]:P:_default' \
'--ring=[Readings that a wire board holds]:N:_default' \
'--uid=[Unique id of the first wire board, 2 to 32 hex digits \[default\: from the link\]]:HEX:_default' \
'--boot=[Boot number of the wire boards \[default\: random\]]:N:_default' \
'--name=[Firmware name of the wire boards]:NAME:_default' \
'--wait[Take the first reading only when somebody has opened the port]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(init)
_arguments "${_arguments_options[@]}" : \
'--output=[The file to write]:FILE:_files' \
'--gateway=[The gateway'\''s name in topics \[default\: the host name\]]:NAME:_default' \
'--format=[What all ports speak]:FORMAT:((wire\:"Boards with the Serialgate library"
json\:"One JSON object a line"))' \
'--cloud=[Where the readings go\: one of the clouds below]:NAME:(hivemq emqx emqx-serverless mosquitto rabbitmq aws azure-iot-hub azure-event-grid thingsboard home-assistant)' \
'--host=[The cloud'\''s host, host\:port or url]:HOST:_default' \
'--username=[The user name there; the thing or client name where a certificate is wanted]:NAME:_default' \
'--password-file=[The file with the password \[default\: secrets/CLOUD beside the configuration\]]:FILE:_default' \
'--certificate=[The client certificate \[default\: secrets/CLOUD.pem beside the configuration\]]:FILE:_default' \
'--key=[Its private key \[default\: secrets/CLOUD.key beside the configuration\]]:FILE:_default' \
'--ca=[The certificate of the broker'\''s own authority; for TLS with a broker in the house]:FILE:_default' \
'--yes[Ask nothing\: take the USB ports that are plugged in, and for the rest the options or the defaults]' \
'--force[Write even if there is such a file already]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ports)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration that says which ports are in use \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:FILE:_files' \
'--connect[Try the link of every bridge, step by step, beside a daemon that may be running]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(clock)
_arguments "${_arguments_options[@]}" : \
'--file=[The file to leave]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print the whole document as JSON]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
'--count=[End after N readings]:N:_default' \
'--timeout=[End after S seconds]:S:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print what local clients get over MQTT, one object per line\: {"topic"\:"…","payload"\:{…}}]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::devices -- Show only these devices, by their names in topics; they may be plugged in later \[default\: all, and events of the gateway\]:_default' \
&& ret=0
;;
(send)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print the result as JSON]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':device -- The device'\''s name, as in topics:_default' \
':channel -- The channel to be set, or one of $interval, $reboot, $call:_default' \
':value -- JSON, as in true, 21.5 or "text"; anything else is text as it stands:_default' \
&& ret=0
;;
(passwd)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
'::name -- The user'\''s name\: prints a whole line for the configuration:_default' \
&& ret=0
;;
(queue)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
":: :_serialgate__subcmd__queue_commands" \
"*::: :->queue" \
&& ret=0

    case $state in
    (queue)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-queue-command-$line[1]:"
        case $line[1] in
            (stats)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(peek)
_arguments "${_arguments_options[@]}" : \
'--bridge=[What waits for this bridge \[default\: for any\]]:NAME:_default' \
'-n+[How many entries, 1 to 1000]:N:_default' \
'--count=[How many entries, 1 to 1000]:N:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
'-o+[Write here \[default\: standard output\]. Only a whole export gets this name]:FILE:_files' \
'--output=[Write here \[default\: standard output\]. Only a whole export gets this name]:FILE:_files' \
'--bridge=[What waits for this bridge \[default\: for any\]]:NAME:_default' \
'(--socket --config)--file=[A queue file that no daemon uses]:PATH:_files' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--skip-bad[Leave bad lines out]' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
':file -- What `serialgate queue export` wrote:_files' \
&& ret=0
;;
(pause)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
'::bridge -- The bridge'\''s name \[default\: all\]:_default' \
&& ret=0
;;
(resume)
_arguments "${_arguments_options[@]}" : \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
'::bridge -- The bridge'\''s name \[default\: all\]:_default' \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
'--older-than=[Only what is older than this\: 90min, 12h, 7d]:DURATION:_default' \
'--device=[Only readings of this device]:NAME:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--yes[Do not ask]' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'(--socket --config)--file=[A queue file that no daemon uses]:PATH:_files' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(dead-letters)
_arguments "${_arguments_options[@]}" : \
'--bridge=[Those of this bridge \[default\: of any\]]:NAME:_default' \
'--topic=[Those whose topic matches this filter \[default\: all\]]:FILTER:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_serialgate__subcmd__queue__subcmd__dead-letters_commands" \
"*::: :->dead-letters" \
&& ret=0

    case $state in
    (dead-letters)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-queue-dead-letters-command-$line[1]:"
        case $line[1] in
            (retry)
_arguments "${_arguments_options[@]}" : \
'--bridge=[Those of this bridge \[default\: of any\]]:NAME:_default' \
'--topic=[Those whose topic matches this filter \[default\: all\]]:FILTER:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(drop)
_arguments "${_arguments_options[@]}" : \
'--bridge=[Those of this bridge \[default\: of any\]]:NAME:_default' \
'--topic=[Those whose topic matches this filter \[default\: all\]]:FILTER:_default' \
'(--config)--socket=[The daemon'\''s control socket, where it is not in one of the usual places]:PATH:_files' \
'--config=[The daemon'\''s configuration file, which tells where its control socket is \[default\: /etc/serialgate/serialgate.yaml, if it can be read\]]:FILE:_files' \
'--json[Print JSON]' \
'--yes[Do not ask]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-queue-dead-letters-help-command-$line[1]:"
        case $line[1] in
            (retry)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(drop)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__queue__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-queue-help-command-$line[1]:"
        case $line[1] in
            (stats)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(peek)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(pause)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(resume)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(dead-letters)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters_commands" \
"*::: :->dead-letters" \
&& ret=0

    case $state in
    (dead-letters)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-queue-help-dead-letters-command-$line[1]:"
        case $line[1] in
            (retry)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(drop)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-help-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(demo)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(sim)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(init)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(ports)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(clock)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(send)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(passwd)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(queue)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__help__subcmd__queue_commands" \
"*::: :->queue" \
&& ret=0

    case $state in
    (queue)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-help-queue-command-$line[1]:"
        case $line[1] in
            (stats)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(peek)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(pause)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(resume)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(dead-letters)
_arguments "${_arguments_options[@]}" : \
":: :_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters_commands" \
"*::: :->dead-letters" \
&& ret=0

    case $state in
    (dead-letters)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:serialgate-help-queue-dead-letters-command-$line[1]:"
        case $line[1] in
            (retry)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(drop)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_serialgate_commands] )) ||
_serialgate_commands() {
    local commands; commands=(
'run:Run the gateway' \
'demo:Show the whole story with no hardware\: boards, an outage, a backlog, a ledger' \
'sim:Simulate boards on pseudo-terminals' \
'init:Write a first configuration by asking a few questions' \
'ports:List the serial ports, and who holds them' \
'check:Check the configuration and say what it means' \
'clock:Wait until the clock was synchronised, then leave a file that says so' \
'status:Show one screen of everything the daemon knows' \
'watch:Show readings as they come' \
'send:Send a command down to a device, and print its result' \
'passwd:Hash a password for a user of the local broker' \
'queue:See and handle what waits\: stats, peek, export, import, pause, resume, purge, verify' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__check_commands] )) ||
_serialgate__subcmd__check_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate check commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__clock_commands] )) ||
_serialgate__subcmd__clock_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate clock commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__demo_commands] )) ||
_serialgate__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate demo commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help_commands] )) ||
_serialgate__subcmd__help_commands() {
    local commands; commands=(
'run:Run the gateway' \
'demo:Show the whole story with no hardware\: boards, an outage, a backlog, a ledger' \
'sim:Simulate boards on pseudo-terminals' \
'init:Write a first configuration by asking a few questions' \
'ports:List the serial ports, and who holds them' \
'check:Check the configuration and say what it means' \
'clock:Wait until the clock was synchronised, then leave a file that says so' \
'status:Show one screen of everything the daemon knows' \
'watch:Show readings as they come' \
'send:Send a command down to a device, and print its result' \
'passwd:Hash a password for a user of the local broker' \
'queue:See and handle what waits\: stats, peek, export, import, pause, resume, purge, verify' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__check_commands] )) ||
_serialgate__subcmd__help__subcmd__check_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help check commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__clock_commands] )) ||
_serialgate__subcmd__help__subcmd__clock_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help clock commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__demo_commands] )) ||
_serialgate__subcmd__help__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help demo commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__help_commands] )) ||
_serialgate__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__init_commands] )) ||
_serialgate__subcmd__help__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help init commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__passwd_commands] )) ||
_serialgate__subcmd__help__subcmd__passwd_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help passwd commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__ports_commands] )) ||
_serialgate__subcmd__help__subcmd__ports_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help ports commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue_commands] )) ||
_serialgate__subcmd__help__subcmd__queue_commands() {
    local commands; commands=(
'stats:Show how much waits, in all and per bridge' \
'peek:Show the oldest entries that wait, as they would be published' \
'export:Write all entries that wait as JSON lines; nothing is removed' \
'import:Put exported entries into the queue' \
'pause:Hold a bridge\: it takes nothing more from the queue' \
'resume:Let a bridge go on' \
'purge:Give up entries that wait; they are counted and told of' \
'verify:Check the queue'\''s file, of a running daemon or a cold one' \
'dead-letters:See what clouds refused for good; try it again, or remove it' \
    )
    _describe -t commands 'serialgate help queue commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters_commands() {
    local commands; commands=(
'retry:Put them back into the queue, each for its own bridge and with its own id' \
'drop:Remove them for good' \
    )
    _describe -t commands 'serialgate help queue dead-letters commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters__subcmd__drop_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters__subcmd__drop_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue dead-letters drop commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters__subcmd__retry_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__dead-letters__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue dead-letters retry commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__export_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue export commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__import_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue import commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__pause_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__pause_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue pause commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__peek_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__peek_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue peek commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__purge_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue purge commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__resume_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__resume_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue resume commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__stats_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue stats commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__queue__subcmd__verify_commands] )) ||
_serialgate__subcmd__help__subcmd__queue__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help queue verify commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__run_commands] )) ||
_serialgate__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help run commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__send_commands] )) ||
_serialgate__subcmd__help__subcmd__send_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help send commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__sim_commands] )) ||
_serialgate__subcmd__help__subcmd__sim_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help sim commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__status_commands] )) ||
_serialgate__subcmd__help__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help status commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__help__subcmd__watch_commands] )) ||
_serialgate__subcmd__help__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate help watch commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__init_commands] )) ||
_serialgate__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate init commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__passwd_commands] )) ||
_serialgate__subcmd__passwd_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate passwd commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__ports_commands] )) ||
_serialgate__subcmd__ports_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate ports commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue_commands] )) ||
_serialgate__subcmd__queue_commands() {
    local commands; commands=(
'stats:Show how much waits, in all and per bridge' \
'peek:Show the oldest entries that wait, as they would be published' \
'export:Write all entries that wait as JSON lines; nothing is removed' \
'import:Put exported entries into the queue' \
'pause:Hold a bridge\: it takes nothing more from the queue' \
'resume:Let a bridge go on' \
'purge:Give up entries that wait; they are counted and told of' \
'verify:Check the queue'\''s file, of a running daemon or a cold one' \
'dead-letters:See what clouds refused for good; try it again, or remove it' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate queue commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters_commands() {
    local commands; commands=(
'retry:Put them back into the queue, each for its own bridge and with its own id' \
'drop:Remove them for good' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate queue dead-letters commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__drop_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__drop_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue dead-letters drop commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help_commands() {
    local commands; commands=(
'retry:Put them back into the queue, each for its own bridge and with its own id' \
'drop:Remove them for good' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate queue dead-letters help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__drop_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__drop_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue dead-letters help drop commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__help_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue dead-letters help help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__retry_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__help__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue dead-letters help retry commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__retry_commands] )) ||
_serialgate__subcmd__queue__subcmd__dead-letters__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue dead-letters retry commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__export_commands] )) ||
_serialgate__subcmd__queue__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue export commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help_commands] )) ||
_serialgate__subcmd__queue__subcmd__help_commands() {
    local commands; commands=(
'stats:Show how much waits, in all and per bridge' \
'peek:Show the oldest entries that wait, as they would be published' \
'export:Write all entries that wait as JSON lines; nothing is removed' \
'import:Put exported entries into the queue' \
'pause:Hold a bridge\: it takes nothing more from the queue' \
'resume:Let a bridge go on' \
'purge:Give up entries that wait; they are counted and told of' \
'verify:Check the queue'\''s file, of a running daemon or a cold one' \
'dead-letters:See what clouds refused for good; try it again, or remove it' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'serialgate queue help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters_commands() {
    local commands; commands=(
'retry:Put them back into the queue, each for its own bridge and with its own id' \
'drop:Remove them for good' \
    )
    _describe -t commands 'serialgate queue help dead-letters commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters__subcmd__drop_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters__subcmd__drop_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help dead-letters drop commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters__subcmd__retry_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__dead-letters__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help dead-letters retry commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__export_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help export commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__help_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help help commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__import_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help import commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__pause_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__pause_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help pause commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__peek_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__peek_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help peek commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__purge_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help purge commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__resume_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__resume_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help resume commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__stats_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help stats commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__help__subcmd__verify_commands] )) ||
_serialgate__subcmd__queue__subcmd__help__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue help verify commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__import_commands] )) ||
_serialgate__subcmd__queue__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue import commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__pause_commands] )) ||
_serialgate__subcmd__queue__subcmd__pause_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue pause commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__peek_commands] )) ||
_serialgate__subcmd__queue__subcmd__peek_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue peek commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__purge_commands] )) ||
_serialgate__subcmd__queue__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue purge commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__resume_commands] )) ||
_serialgate__subcmd__queue__subcmd__resume_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue resume commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__stats_commands] )) ||
_serialgate__subcmd__queue__subcmd__stats_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue stats commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__queue__subcmd__verify_commands] )) ||
_serialgate__subcmd__queue__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate queue verify commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__run_commands] )) ||
_serialgate__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate run commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__send_commands] )) ||
_serialgate__subcmd__send_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate send commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__sim_commands] )) ||
_serialgate__subcmd__sim_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate sim commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__status_commands] )) ||
_serialgate__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate status commands' commands "$@"
}
(( $+functions[_serialgate__subcmd__watch_commands] )) ||
_serialgate__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'serialgate watch commands' commands "$@"
}

if [ "$funcstack[1]" = "_serialgate" ]; then
    _serialgate "$@"
else
    compdef _serialgate serialgate
fi
