#!/usr/bin/env bash
# Installs the Debian packages that Trireme is built from and tested with.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/install.sh [run|test]

Installs the Debian packages that are missing, and does nothing when all are there.
  run   (default) what launch/quickstart.sh builds and runs with
  test  that, and what launch/test.sh needs: GoogleTest, clang-format, clang-tidy, shellcheck
Works as root, or through sudo. Written for Debian 12 and its derivatives; elsewhere it names what is needed.
TEXT
}

run_packages=(
  build-essential cmake ninja-build pkg-config
  libopenmpi-dev openmpi-bin
  libdnnl-dev libhwy-dev
  libabsl-dev libprotobuf-dev protobuf-compiler libgoogle-glog-dev libcli11-dev nlohmann-json3-dev
  libisal-dev libssl-dev libsentencepiece-dev
  perl-doc # the quickstart's corpus
)
test_packages=(libgtest-dev libgmock-dev clang-format clang-tidy libomp-dev shellcheck)

case "${1-run}" in
  run) packages=("${run_packages[@]}") ;;
  test) packages=("${run_packages[@]}" "${test_packages[@]}") ;;
  --help | -h)
    usage
    exit 0
    ;;
  *)
    printf 'launch/install.sh: unknown argument "%s"\n' "$1" >&2
    usage >&2
    exit 64
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  {
    echo "This machine has no apt: install these packages, or what your system calls them, by hand:"
    printf '  %s\n' "${packages[*]}"
  } >&2
  exit 1
fi

mapfile -t missing < <(
  dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
    awk -v wanted="${packages[*]}" '
      $1 == "installed" { there[$2] = 1 }
      END {
        count = split(wanted, names, " ")
        for (i = 1; i <= count; ++i) if (!(names[i] in there)) print names[i]
      }'
)
if ((${#missing[@]} == 0)); then
  echo "All ${#packages[@]} Debian packages are there; nothing to install."
  exit 0
fi

as_root=()
if [[ "$(id -u)" != 0 ]]; then
  if ! command -v sudo >/dev/null; then
    {
      echo "Missing Debian packages, and neither root nor sudo to install them with. As root, run:"
      printf '  apt-get update && apt-get install --no-install-recommends %s\n' "${missing[*]}"
    } >&2
    exit 1
  fi
  as_root=(sudo)
fi

apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
install_missing() { apt install --no-install-recommends "${missing[@]}"; }

# A fresh machine has no package lists, an old one has lists that name files long gone.
lists_know_all() {
  [[ "$(apt-cache show --no-all-versions "${missing[@]}" 2>/dev/null | grep -c "^Package:")" == "${#missing[@]}" ]]
}

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
if lists_know_all && install_missing; then
  exit 0
fi
echo "Fetching the package lists (apt-get update)."
apt update || echo "apt-get update reported errors; trying with the lists there are." >&2
install_missing || {
  echo "apt-get could not install: ${missing[*]}. Its message stands above; this list is for Debian 12 (bookworm)." >&2
  exit 1
}
