"""The commands of ``python -m minigrad`` that run or read a script of yours, a file each."""
