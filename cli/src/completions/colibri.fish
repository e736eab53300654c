
# Whether the word is that argument behind the verb, or any, and no option's value.
function __fish_colibri_place
    set -l place 0
    set -l value no
    for word in (commandline -opc)[2..]
        if test $value = yes
            set value no
        else if contains -- $word OPTIONS
            set value yes
        else if not string match -q -- '-*' $word
            set place (math $place + 1)
        end
    end
    test $value = no; and test $place -ge 1
    and begin
        not set -q argv[1]; or test $place -eq $argv[1]
    end
end

