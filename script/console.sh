# shellcheck shell=bash
# How the scripts speak, for bash to source: quiet about what goes well, one moving line for what is long, everything
# about what fails. All of it goes to standard error, so that standard output holds results only.

terminal=
if [ -t 2 ] && [ "${TERM:-dumb}" != dumb ]; then
  terminal=1
  columns=$(stty size 2>/dev/null </dev/tty) && columns=${columns#* } || columns=80
  [ "$columns" -ge 20 ] 2>/dev/null || columns=80
fi

# say TEXT…: one line that stays.
say() {
  [ -z "$terminal" ] || printf '\r\033[K' >&2
  printf '%s\n' "$*" >&2
}

# fail TEXT…: says what is wrong and ends the script.
fail() {
  say "${0##*/}: $*"
  exit 1
}

# A long thing, in percent. On a terminal each call rewrites one line; elsewhere a line appears at every full fifth.
#   progress_start TEXT; progress PERCENT [DETAIL]; …; progress_end
progress_text='' progress_shown=0 progress_line=''
progress_start() {
  progress_text=$1 progress_shown=0 progress_line=''
  if [ -n "$terminal" ]; then printf '\r\033[K%s…' "$1" >&2; else printf '%s…\n' "$1" >&2; fi
}
progress() {
  local percent=$1 detail=${2-}
  if [ -n "$terminal" ]; then
    local line
    line=$(printf '%3d%% %s  %s' "$percent" "$progress_text" "$detail")
    [ "$line" != "$progress_line" ] || return 0
    progress_line=$line
    printf '\r\033[K%s' "${line:0:$((columns - 1))}" >&2
  elif [ $((percent / 20)) -gt $((progress_shown / 20)) ] && [ "$percent" -lt 100 ]; then
    progress_shown=$percent
    printf '  %d%%\n' "$((percent / 20 * 20))" >&2
  fi
}
progress_end() { [ -z "$terminal" ] || printf '\r\033[K' >&2; }

# count N NOUN: "1 package", "3 packages".
count() { if [ "$1" = 1 ]; then printf '1 %s' "$2"; else printf '%d %ss' "$1" "$2"; fi; }

# duration SECONDS: "45 s", "3 min 20 s".
duration() {
  if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}
