# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_serialgate_global_optspecs
    string join \n h/help V/version
end

function __fish_serialgate_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_serialgate_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_serialgate_using_subcommand
    set -l cmd (__fish_serialgate_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c serialgate -n "__fish_serialgate_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_needs_command" -s V -l version -d 'Print version'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "run" -d 'Run the gateway'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "demo" -d 'Show the whole story with no hardware: boards, an outage, a backlog, a ledger'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "sim" -d 'Simulate boards on pseudo-terminals'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "init" -d 'Write a first configuration by asking a few questions'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "ports" -d 'List the serial ports, and who holds them'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "check" -d 'Check the configuration and say what it means'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "clock" -d 'Wait until the clock was synchronised, then leave a file that says so'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "status" -d 'Show one screen of everything the daemon knows'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "watch" -d 'Show readings as they come'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "send" -d 'Send a command down to a device, and print its result'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "passwd" -d 'Hash a password for a user of the local broker'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "queue" -d 'See and handle what waits: stats, peek, export, import, pause, resume, purge, verify'
complete -c serialgate -n "__fish_serialgate_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c serialgate -n "__fish_serialgate_using_subcommand run" -l config -d 'The configuration file' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand demo" -l seconds -d 'How long the story takes; the link is cut for a bit more than a third of it' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l link -d 'Where the port lies; further wire boards get LINK.1, LINK.2 and so on' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l format -d 'What the boards speak' -r -f -a "wire\t'Wire v1, with acknowledgements: each board has a port of its own'
json\t'One JSON object per line: all boards share one port'"
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l rate -d 'Readings per second of each board' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l devices -d 'How many boards; JSON boards share one port' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l ledger -d 'Write what is produced and acknowledged to FILE, as JSON lines' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l count -d 'Stop after N readings of each board' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l seconds -d 'Stop taking readings after S seconds' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l linger -d 'Wait at most S seconds, after the last reading, for acknowledgements' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l noise -d 'Probability that a byte is damaged, in both directions' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l ring -d 'Readings that a wire board holds' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l uid -d 'Unique id of the first wire board, 2 to 32 hex digits [default: from the link]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l boot -d 'Boot number of the wire boards [default: random]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l name -d 'Firmware name of the wire boards' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -l wait -d 'Take the first reading only when somebody has opened the port'
complete -c serialgate -n "__fish_serialgate_using_subcommand sim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l output -d 'The file to write' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l gateway -d 'The gateway\'s name in topics [default: the host name]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l format -d 'What all ports speak' -r -f -a "wire\t'Boards with the Serialgate library'
json\t'One JSON object a line'"
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l cloud -d 'Where the readings go: one of the clouds below' -r -f -a "hivemq\t''
emqx\t''
emqx-serverless\t''
mosquitto\t''
rabbitmq\t''
aws\t''
azure-iot-hub\t''
azure-event-grid\t''
thingsboard\t''
home-assistant\t''"
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l host -d 'The cloud\'s host, host:port or url' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l username -d 'The user name there; the thing or client name where a certificate is wanted' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l password-file -d 'The file with the password [default: secrets/CLOUD beside the configuration]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l certificate -d 'The client certificate [default: secrets/CLOUD.pem beside the configuration]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l key -d 'Its private key [default: secrets/CLOUD.key beside the configuration]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l ca -d 'The certificate of the broker\'s own authority; for TLS with a broker in the house' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l yes -d 'Ask nothing: take the USB ports that are plugged in, and for the rest the options or the defaults'
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -l force -d 'Write even if there is such a file already'
complete -c serialgate -n "__fish_serialgate_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand ports" -l config -d 'The configuration that says which ports are in use [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand ports" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand ports" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand check" -l config -d 'The configuration file' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand check" -l connect -d 'Try the link of every bridge, step by step, beside a daemon that may be running'
complete -c serialgate -n "__fish_serialgate_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand clock" -l file -d 'The file to leave' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand clock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand status" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand status" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand status" -l json -d 'Print the whole document as JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -l count -d 'End after N readings' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -l timeout -d 'End after S seconds' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -l json -d 'Print what local clients get over MQTT, one object per line: {"topic":"…","payload":{…}}'
complete -c serialgate -n "__fish_serialgate_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand send" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand send" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand send" -l json -d 'Print the result as JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c serialgate -n "__fish_serialgate_using_subcommand passwd" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "stats" -d 'Show how much waits, in all and per bridge'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "peek" -d 'Show the oldest entries that wait, as they would be published'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "export" -d 'Write all entries that wait as JSON lines; nothing is removed'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "import" -d 'Put exported entries into the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "pause" -d 'Hold a bridge: it takes nothing more from the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "resume" -d 'Let a bridge go on'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "purge" -d 'Give up entries that wait; they are counted and told of'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "verify" -d 'Check the queue\'s file, of a running daemon or a cold one'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "dead-letters" -d 'See what clouds refused for good; try it again, or remove it'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and not __fish_seen_subcommand_from stats peek export import pause resume purge verify dead-letters help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from stats" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from stats" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from stats" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -l bridge -d 'What waits for this bridge [default: for any]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -s n -l count -d 'How many entries, 1 to 1000' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from peek" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -s o -l output -d 'Write here [default: standard output]. Only a whole export gets this name' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -l bridge -d 'What waits for this bridge [default: for any]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -l file -d 'A queue file that no daemon uses' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from import" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from import" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from import" -l skip-bad -d 'Leave bad lines out'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from import" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from pause" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from pause" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from pause" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from resume" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from resume" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from resume" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l older-than -d 'Only what is older than this: 90min, 12h, 7d' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l device -d 'Only readings of this device' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l yes -d 'Do not ask'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from verify" -l file -d 'A queue file that no daemon uses' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from verify" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from verify" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -l bridge -d 'Those of this bridge [default: of any]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -l topic -d 'Those whose topic matches this filter [default: all]' -r
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -l socket -d 'The daemon\'s control socket, where it is not in one of the usual places' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -l config -d 'The daemon\'s configuration file, which tells where its control socket is [default: /etc/serialgate/serialgate.yaml, if it can be read]' -r -F
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -l json -d 'Print JSON'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -s h -l help -d 'Print help'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -f -a "retry" -d 'Put them back into the queue, each for its own bridge and with its own id'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -f -a "drop" -d 'Remove them for good'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from dead-letters" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Show how much waits, in all and per bridge'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "peek" -d 'Show the oldest entries that wait, as they would be published'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write all entries that wait as JSON lines; nothing is removed'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "import" -d 'Put exported entries into the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "pause" -d 'Hold a bridge: it takes nothing more from the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "resume" -d 'Let a bridge go on'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "purge" -d 'Give up entries that wait; they are counted and told of'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check the queue\'s file, of a running daemon or a cold one'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "dead-letters" -d 'See what clouds refused for good; try it again, or remove it'
complete -c serialgate -n "__fish_serialgate_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "run" -d 'Run the gateway'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "demo" -d 'Show the whole story with no hardware: boards, an outage, a backlog, a ledger'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "sim" -d 'Simulate boards on pseudo-terminals'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "init" -d 'Write a first configuration by asking a few questions'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "ports" -d 'List the serial ports, and who holds them'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "check" -d 'Check the configuration and say what it means'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "clock" -d 'Wait until the clock was synchronised, then leave a file that says so'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "status" -d 'Show one screen of everything the daemon knows'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "watch" -d 'Show readings as they come'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "send" -d 'Send a command down to a device, and print its result'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "passwd" -d 'Hash a password for a user of the local broker'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "queue" -d 'See and handle what waits: stats, peek, export, import, pause, resume, purge, verify'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and not __fish_seen_subcommand_from run demo sim init ports check clock status watch send passwd queue help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "stats" -d 'Show how much waits, in all and per bridge'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "peek" -d 'Show the oldest entries that wait, as they would be published'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "export" -d 'Write all entries that wait as JSON lines; nothing is removed'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "import" -d 'Put exported entries into the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "pause" -d 'Hold a bridge: it takes nothing more from the queue'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "resume" -d 'Let a bridge go on'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "purge" -d 'Give up entries that wait; they are counted and told of'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "verify" -d 'Check the queue\'s file, of a running daemon or a cold one'
complete -c serialgate -n "__fish_serialgate_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "dead-letters" -d 'See what clouds refused for good; try it again, or remove it'
