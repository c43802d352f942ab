#!/bin/sh
# Tries the control-group code on a real version 2 hierarchy, with every controller in it: a small virtual machine under
# software emulation, so it needs neither hardware support nor a host that was booted that way.
#
#   deploy/cgroup2-check.sh          (Debian; needs qemu-system-x86, busybox-static, cpio; takes a few minutes)
#
# The machine's first process mounts the hierarchy and runs `crates/cgroup/tests/real.rs` as it is; the last line says
# whether everything passed.
set -eu

for program in qemu-system-x86_64 busybox cpio dpkg-deb cargo; do
    command -v "$program" > /dev/null || { echo "missing: $program" >&2; exit 2; }
done
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
cd "$work"

# A kernel of Debian's, taken out of its package: nothing is installed.
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
apt-get download --quiet "$package" > /dev/null
dpkg-deb --extract ./*.deb kernel
kernel=$(ls kernel/boot/vmlinuz-*)

# The test as cargo builds it, with the libraries it is linked to.
test=$(cd "$root" && cargo test --package sandscope-cgroup --test real --no-run 2>&1 |
    sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
case $test in /*) ;; *) test=$root/$test ;; esac
mkdir -p image/bin image/proc image/sys image/dev image/tmp image/test
cp "$(command -v busybox)" image/bin/busybox
for applet in sh mount umount cat dd head mkdir poweroff echo sleep uname sync tail; do ln -s busybox "image/bin/$applet"; done
cp "$test" image/test/real
ldd "$test" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }' | while read -r library; do
    mkdir -p "image$(dirname "$library")"
    cp -L "$library" "image$library"
done
cat > image/init << 'INIT'
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "cgroup2-check: $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
if /test/real --test-threads=1; then echo "cgroup2-check: passed"; else echo "cgroup2-check: FAILED"; fi
poweroff -f
INIT
chmod +x image/init
(cd image && find . | cpio --create --format=newc --quiet) > initrd

timeout "${CGROUP2_CHECK_TIMEOUT_S:-1200}" qemu-system-x86_64 -machine pc -accel tcg -cpu max -smp 2 -m 1024 -nographic -no-reboot \
    -kernel "$kernel" -initrd initrd -append "console=ttyS0 quiet panic=-1 psi=1 no_timer_check" -net none | tee log
grep -q "cgroup2-check: passed" log
