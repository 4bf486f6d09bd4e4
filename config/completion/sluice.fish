# fish completion for sluice: what the completion for bash says, which asks the program.
complete -c sluice -f -a '(bash @SHARE@/bash-completion/completions/sluice (commandline -opc) (commandline -ct) 2>/dev/null)'
