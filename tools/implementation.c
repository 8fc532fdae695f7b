/* The one translation unit of the tool that holds interp.h's code, with stb for pictures. */
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image.h>
#include <stb_image_write.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
