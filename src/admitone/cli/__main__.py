"""python -m admitone.cli"""

from admitone.cli import main

main()
