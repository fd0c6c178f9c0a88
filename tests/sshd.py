"""What makes an sshd of the tests quick: hundreds of connections are made to it."""

#: For the end of an sshd_config. The key exchange that OpenSSH prefers takes ten times as much work. For a command
#: over ssh bash reads root's .bashrc, unless it believes that another shell started it: a pyenv there takes a third
#: of a second. And a borg that serves tries its ciphers at each start.
QUICK_SSHD = "KexAlgorithms curve25519-sha256\nSetEnv SHLVL=1 BORG_SELFTEST=disabled\n"
