# Read by the two hooks. Change it to your taste; what is set in the environment already wins.
here=$(cd "$(dirname "$0")" && pwd)
: "${MEMORIA_DIR:=$HOME/memory}"
: "${MEMORIA_SUMMARIZER:='$here/summarize.sh'}" # any command: "claude -p", "llm -m small", "ollama run llama3"
: "${MEMORIA_COMPILER:='$here/compile.sh'}"
export MEMORIA_DIR MEMORIA_SUMMARIZER MEMORIA_COMPILER
