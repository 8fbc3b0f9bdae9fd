# shellcheck shell=bash disable=SC2154,SC2034 # $usage is the caller's; so are the variables set here
# Options of a script, declared once: in its help text.
#
# The script sets $usage, in which each line "  --some-name VALUE  what it is" declares an option and a variable
# $some_name that the script has given its default, then calls
#
#   parse_options "$@"
#
# `--some-name V`, `--some_name V` and `--some-name=V` are the same. A value is stored, never evaluated. A line without
# VALUE declares a flag: `--some-name` alone stores true. A script that takes arguments behind its options declares an
# array arguments=(), which gets them all from the first one on.

# Ends the script with one line on stderr and status 2, the status of a wrong command line.
die() {
  printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
  exit 2
}

# option_names: the options that $usage declares, one a line.
option_names() { sed -nE 's/^  --([a-z-]+) .*/\1/p' <<<"$usage"; }

parse_options() {
  local known flags name value
  known=$(option_names)
  flags=$(sed -nE 's/^  --([a-z-]+)  .*/\1/p' <<<"$usage")
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) printf '%s\n' "$usage" && exit 0 ;;
      --*=*) name=${1%%=*} value=${1#*=} && shift ;;
      --*)
        name=$1 value=true && shift
        if ! grep -qxF -e "$(tr _ - <<<"${name#--}")" <<<"$flags"; then
          [ $# -ge 1 ] || die "option $name needs a value; see --help"
          value=$1 && shift
        fi
        ;;
      *)
        declare -p arguments >/dev/null 2>&1 || die "unexpected argument '$1'; see --help"
        arguments=("$@") && return
        ;;
    esac
    name=${name#--} && name=${name//_/-}
    grep -qxF -e "$name" <<<"$known" || die "unknown option --$name; it has: --${known//$'\n'/ --}"
    [ -n "$value" ] || die "option --$name has an empty value; leave it out for the default"
    printf -v "${name//-/_}" '%s' "$value"
  done
}

# require_number NAME VALUE MIN [MAX]: ends the script unless VALUE is a whole number in the range.
require_number() {
  local range="of at least $3"
  [ $# -lt 4 ] || range="from $3 to $4"
  [[ $2 =~ ^[0-9]{1,6}$ ]] && [ "$((10#$2))" -ge "$3" ] && [ "$((10#$2))" -le "${4:-999999}" ] ||
    die "option --$1 is '$2'; it must be a whole number $range"
}
