#!/bin/sh
# The whole way on the small data that ships: check, train, test, predict. Usage: sh demo.sh [python]
set -eu
python=${1:-python}
config=configs/demo/matching.json

run() {
    echo
    echo "\$ python $*"
    "$python" "$@"
}

run train.py --conf_path $config --check
run train.py --conf_path $config --force
run test.py --model runs/demo_matching
run predict.py --model runs/demo_matching --input dataset/demo_matching/test.tsv --output runs/demo_matching/answers.tsv
echo
echo "\$ head -n 8 runs/demo_matching/answers.tsv    (question, sentence, label, prediction, confidence, confidence@1)"
head -n 8 runs/demo_matching/answers.tsv | cut -f 2,6-
