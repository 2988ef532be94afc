# cmake -DFROM=file -DTO=file.c -DNAME=symbol -P embed.cmake: the bytes of a file as a C array.
file(READ ${FROM} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${TO} "#include <stddef.h>\n\n#include \"calls.h\"\n\nconst unsigned char ${NAME}_text[] = {\n${bytes}\n};\nconst size_t ${NAME}_size = sizeof ${NAME}_text;\n")
