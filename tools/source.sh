# shellcheck shell=bash
# Brings the source of an optional package into the build folder. Needs die of utils/parse_options.sh.

# get_source PLACE COMMIT DEST: copies a folder, or clones a URL, to DEST and says which commit it is.
get_source() {
  local place=$1 commit=$2 dest=$3 message
  [ -n "$place" ] || die "option --source is required: a folder with the source, or a URL that git can clone"
  rm -rf -- "$dest" && mkdir -p -- "$(dirname -- "$dest")"
  if [ -d "$place" ] && [ ! -e "$place/.git" ] && [ ! -e "$place/HEAD" ]; then
    [ -z "$commit" ] || die "--commit needs a git repository; $place is none"
    cp -r -- "$place" "$dest"
    echo "${0##*/}: using $place, which names no commit"
    return
  fi
  message=$(git clone --quiet -- "$place" "$dest" 2>&1) ||
    die "--source '$place' is neither a folder nor something git can clone: $(tail -n 1 <<<"$message")"
  [ -z "$commit" ] || git -C "$dest" checkout --quiet "$commit" -- || die "$place has no commit '$commit'"
  echo "${0##*/}: using $place at commit $(git -C "$dest" log -1 --format='%H of %cs')"
}
